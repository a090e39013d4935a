"""A random Llama of a few thousand weights whose tokens are bytes."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from surefoot.language import LanguageModel, save_language

VOCABULARY = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
CHAT = "{% for one in messages %}{{ one['role'] }}: {{ one['content'] }}\n{% endfor %}"


def tiny(
    *, seed: int = 0, deviation: float = 0.3, layers: int = 2, tied: bool = True, window: int = 64
) -> LanguageModel:
    """Weights are drawn large enough that positions and heads matter."""
    tokenizer = Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(VOCABULARY)}, merges=[("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(VOCABULARY[0], special=True)])
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=layers,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=window,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=0,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=deviation)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=VOCABULARY[0], chat_template=CHAT)
    return LanguageModel(model=model, tokenizer=fast, name="tiny")


def saved(loaded: LanguageModel, directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    save_language(loaded, directory)
    return directory
