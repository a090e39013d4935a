"""Language models: texts, models, training, edits and evaluation.

Begin with `SmolLM2` or `load_language` (a model), `TextSet` (texts), `Perplexity` (measure), `FinetuneLanguage` and
`LanguageEdit` (change).
"""

from surefoot.language._clients._count import Prices as Prices
from surefoot.language._clients._count import RequestCount as RequestCount
from surefoot.language._clients._count import Usage as Usage
from surefoot.language._clients._count import count_requests as count_requests
from surefoot.language._clients._count import usage as usage
from surefoot.language._clients._open import open_client as open_client
from surefoot.language._clients._options import ClientOptions as ClientOptions
from surefoot.language._clients._protocol import Completion as Completion
from surefoot.language._clients._protocol import LanguageClient as LanguageClient
from surefoot.language._clients._protocol import Request as Request
from surefoot.language._clients._protocol import ScriptedClient as ScriptedClient
from surefoot.language._models._language import LanguageModel as LanguageModel
from surefoot.language._models._language import SmolLM2 as SmolLM2
from surefoot.language._models._language import Windows as Windows
from surefoot.language._models._language import continued as continued
from surefoot.language._models._language import load_language as load_language
from surefoot.language._models._language import save_language as save_language
from surefoot.language._models._language import token_losses as token_losses
from surefoot.language._models._language import windows_of as windows_of
from surefoot.language._models._llama import LlamaConfig as LlamaConfig
from surefoot.language._models._llama import build_llama as build_llama
from surefoot.language._models._llama import llama_logits as llama_logits
from surefoot.language._reading._predictions import PredictionFile as PredictionFile
from surefoot.language._reading._predictions import Predictions as Predictions
from surefoot.language._reading._predictions import read_predictions as read_predictions
from surefoot.language._reading._predictions import write_predictions as write_predictions
from surefoot.language._reading._questions import NOWHERE as NOWHERE
from surefoot.language._reading._questions import Question as Question
from surefoot.language._reading._questions import QuestionCounts as QuestionCounts
from surefoot.language._reading._questions import count_questions as count_questions
from surefoot.language._reading._questions import read_questions as read_questions
from surefoot.language._reading._questions import write_questions as write_questions
from surefoot.language._reading._rules import READING_RULES as READING_RULES
from surefoot.language._reading._rules import RuleName as RuleName
from surefoot.language._reading._scored import BestThreshold as BestThreshold
from surefoot.language._reading._scored import QuestionScores as QuestionScores
from surefoot.language._reading._scored import best_threshold as best_threshold
from surefoot.language._reading._scored import reading_measurements as reading_measurements
from surefoot.language._reading._scored import score_questions as score_questions
from surefoot.language._reading._scores import ReadingScores as ReadingScores
from surefoot.language._reading._scores import write_reading_examples as write_reading_examples
from surefoot.language._reading._sets import QuestionFile as QuestionFile
from surefoot.language._reading._sets import QuestionPart as QuestionPart
from surefoot.language._reading._sets import QuestionSample as QuestionSample
from surefoot.language._reading._sets import question_part as question_part
from surefoot.language._texts._perplexity import Perplexity as Perplexity
from surefoot.language._texts._perplexity import TextLosses as TextLosses
from surefoot.language._texts._perplexity import language_measurements as language_measurements
from surefoot.language._texts._perplexity import perplexity as perplexity
from surefoot.language._texts._perplexity import text_losses as text_losses
from surefoot.language._texts._styles import TEXT_STYLES as TEXT_STYLES
from surefoot.language._texts._styles import TextPart as TextPart
from surefoot.language._texts._styles import TextSet as TextSet
from surefoot.language._texts._styles import TextStyle as TextStyle
from surefoot.language._texts._styles import read_texts as read_texts
from surefoot.language._training._edit import LanguageEdit as LanguageEdit
from surefoot.language._training._finetune import FinetuneLanguage as FinetuneLanguage
