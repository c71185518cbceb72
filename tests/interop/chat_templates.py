"""Chat templates as `transformers` applies them, for the tests of this project.

    python tests/interop/chat_templates.py [--check]

writes bitnet/tests/golden/chat: a tokenizer with special tokens in the manner of Llama 3, and
messages with the ids that `apply_chat_template` gives for each template beside it. With --check it
compares instead. Needs `transformers` and `jinja2` alone.
"""

import json
import pathlib
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "bitnet" / "tests" / "golden" / "chat"
SPECIAL = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
]
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXT = """User: What is the capital of the country? Assistant: It is a town.
System: You are a helpful assistant. Answer in one line, and say what you do not know.
"""


def chat(*contents, system=None):
    roles = ["user", "assistant"] * len(contents)
    messages = [{"role": role, "content": text} for role, text in zip(roles, contents)]
    return ([{"role": "system", "content": system}] if system is not None else []) + messages


CHATS = [
    chat("Hello"),
    chat("  What is it?\n\n", system=" Be brief.\n"),
    chat("Who are you?", " A model.\n", "And\tI — señor 語?", system="You are helpful."),
    chat("Hello", "Hello"),
    chat("12345\n\n\nand 6", "", " "),
    chat("<b>&amp;\"quotes\" {{ braces }} {% raw %}", system=""),
]


def tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    begin = SPECIAL[0]
    tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin} $B",
        special_tokens=[(begin, tokenizer.token_to_id(begin))],
    )
    return tokenizer


def cases(path):
    loaded = PreTrainedTokenizerFast(
        tokenizer_file=str(path), bos_token=SPECIAL[0], eos_token=SPECIAL[4],
    )
    for template in sorted(FOLDER.glob("*.jinja")):
        source = template.read_text()
        for messages in CHATS:
            ids = loaded.apply_chat_template(
                messages, chat_template=source, add_generation_prompt=True, tokenize=True,
            )
            yield {"template": template.name, "messages": messages, "ids": ids}
    texts = [text for text in (TEXT, "Hello", " <b> 語")]
    yield {"texts": texts, "ids": [loaded(text)["input_ids"] for text in texts]}


def main():
    path, golden = FOLDER / "tokenizer.json", FOLDER / "golden.json"
    if "--check" in sys.argv:
        assert list(cases(path)) == json.loads(golden.read_text()), "the ids are others"
        return
    tokenizer().save(str(path), pretty=False)
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases(path))
    golden.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
