"""What the small models share: sizes, the tokenizer of whole words, pictures and the shape of a chat."""

from collections.abc import Iterable
from dataclasses import dataclass

import transformers as hf
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

IMAGE_SIZE = 64
PATCH = 16  # of the towers that do not merge patches: 4 x 4 vision tokens
TOKENS = (IMAGE_SIZE // PATCH) ** 2
MEAN_STD = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_convert_rgb": True}
SQUARE = {"size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE}, **MEAN_STD}


@dataclass(frozen=True)
class Size:
    """Width and depth of a small model: the language model, then the vision tower."""

    width: int
    depth: int
    vision_width: int
    vision_depth: int

    @property
    def text(self) -> dict:
        """Arguments that every language model of these families shares."""
        return {
            "hidden_size": self.width,
            "intermediate_size": 2 * self.width,
            "num_hidden_layers": self.depth,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": self.width // 4,
            "max_position_embeddings": 256,
            "attention_dropout": 0.0,
        }

    @property
    def vision(self) -> dict:
        """Arguments of a plain vision transformer (CLIP, SigLIP)."""
        return {
            "hidden_size": self.vision_width,
            "intermediate_size": 2 * self.vision_width,
            "num_hidden_layers": self.vision_depth,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIZE,
        }


SIZES = {"tiny": Size(32, 2, 32, 2), "compact": Size(64, 3, 64, 2), "small": Size(128, 4, 96, 3)}


def word_tokenizer(words: Iterable[str], special: dict[str, str]) -> hf.PreTrainedTokenizerFast:
    """A tokenizer that knows ``words``, punctuation and line ends, one token each.

    Parameters
    ----------
    words : iterable of str
        The closed vocabulary.
    special : dict
        Attribute name -> token (``{"image_token": "<image>"}``); each becomes one id and an attribute of the tokenizer.
    """
    base = ["<unk>", "<pad>", "<s>", "</s>", *special.values()]
    closed = sorted(set(words) | set("\n?.,:!") | {"user", "assistant", "model"})
    vocabulary = {token: index for index, token in enumerate([*base, *(w for w in closed if w not in base)])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|\w+|[^\w\s]"), behavior="removed", invert=True)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=special,
        padding_side="left",
    )


def vocabulary(tokenizer: hf.PreTrainedTokenizerFast) -> dict:
    """Arguments of a language model that it owes to its tokenizer."""
    return {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}


def ends(tokenizer: hf.PreTrainedTokenizerFast) -> dict:
    """The ids of the tokens that open and close a text, where a configuration's own defaults lie outside of the vocabulary."""
    return {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}


def chat(before: str, image: str, after: str) -> str:
    """A Jinja chat template of one turn: ``before``, the placeholder of picture or film, the question, ``after``."""
    part = "{{ part['text'] if part['type'] == 'text' else " + repr(image) + " }}"
    parts = "{% for part in messages[0]['content'] %}" + part + "{% endfor %}"
    return "{{ " + repr(before) + " }}" + parts + "{{ " + repr(after) + " }}"
