"""The tokens of the question are those that cover its characters, for any tokenizer."""

from dataclasses import replace

import numpy as np
import pytest
import transformers as hf
from small_world import CANDIDATES, FAMILY_NAMES, loaded, picture, sample, sized
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from pidlib.extraction.prompts import Prompter

TEXTS = [
    "is there a lion in the picture? yes no\n",
    "USER: ASSISTANT: what colour is it ? red green blue",
] * 5


def prompter(model, processor=None):
    return Prompter(replace(model, processor=processor or model.processor))


def questions_of(prompts, data):
    return [question for question, _ in prompts.tokenize(data)[1]]


def processor_of(tokenizer, template):
    """A LLaVA processor with another tokenizer and chat template."""
    images = loaded("llava").processor.image_processor
    arguments = {
        "patch_size": 16,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    }
    return hf.LlavaProcessor(
        image_processor=images, tokenizer=tokenizer, chat_template=template, **arguments
    )


def byte_level_tokenizer(bos: bool = False):
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer, core.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    special = ["<unk>", "<pad>", "<s>", "</s>", "<image>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=330, special_tokens=special, initial_alphabet=alphabet),
    )
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 2)]
        )
    return fast(core)


def prefix_space_tokenizer():
    """As that of Llama: a space belongs to the word behind it."""
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer, core.decoder = (
        pre_tokenizers.Metaspace(prepend_scheme="first"),
        decoders.Metaspace(),
    )
    core.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=120, special_tokens=["<unk>", "<pad>", "<s>", "</s>", "<image>"]
        ),
    )
    return fast(core)


def fast(core):
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=["<image>"],
    )


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_language_tokens_are_the_words_of_the_question(family):
    model = loaded(family)
    data = [sample(index) for index in range(4)]
    questions = questions_of(prompter(model), data)
    for item, question in zip(data, questions, strict=True):
        words = item.question.replace("?", " ?").split()
        assert model.processor.tokenizer.convert_ids_to_tokens(question.language_ids) == words


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_options_are_separated_from_the_question(family):
    model = loaded(family)
    data = [sample(0, options="red, green or blue?"), sample(1)]
    question, bare = questions_of(prompter(model), data)
    words = model.processor.tokenizer.convert_ids_to_tokens(
        question.language_ids[question.is_options]
    )
    assert words == ["\n", "red", ",", "green", "or", "blue", "?"] and not bare.is_options.any()
    assert question.is_options.argmax() == len(sample(0).question.replace("?", " ?").split())


TEMPLATES = {
    "picture first": "USER: <image>\n{{ question }} ASSISTANT:",
    "picture last": "USER: {{ question }}\n<image> ASSISTANT:",
    "own beginning": "<s>USER: <image>{{ question }}\n",
    "trims": "USER: <image>{{ question | trim }} \n\n",
}


TOKENIZERS = {
    "bytes": byte_level_tokenizer(),
    "bytes after <s>": byte_level_tokenizer(bos=True),
    "prefix space": prefix_space_tokenizer(),
}


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("form", TEMPLATES)
@pytest.mark.parametrize("question", ["is there a lion?", "USER:", "a", "is there\na lion in it"])
def test_language_tokens_of_other_tokenizers(tokenizer, form, question):
    template = TEMPLATES[form].replace("question", "messages[0]['content'][1]['text']")
    prompts = prompter(loaded("llava"), processor_of(TOKENIZERS[tokenizer], template))
    data = [sample(0, question=f" {question} "), sample(1, question="red red red red red red")]
    questions = questions_of(prompts, data)
    (listed,) = questions_of(prompts, [replace(data[0], options="red or\nblue")])
    marked = [
        TOKENIZERS[tokenizer].decode(listed.language_ids[listed.is_options == what]).split()
        for what in (False, True)
    ]
    assert marked == [question.split(), ["red", "or", "blue"]]
    # A token may reach over the edge of the question, but not further than white space.
    assert TOKENIZERS[tokenizer].decode(questions[0].language_ids).split() == question.split()
    for item in questions:
        assert (item.fields["input_ids"] == TOKENIZERS[tokenizer].bos_token_id).sum() == (
            form == "own beginning" or tokenizer == "bytes after <s>"
        )


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_picture_and_question_of_two_samples_combine_as_in_the_processor(family):
    prompts = prompter(loaded(family))
    first, second = sample(0), sample(1)
    _, ((_, shown), (question, _)) = prompts.tokenize([first, second])
    both = replace(first, question=second.question)
    _, ((expected, picture),) = prompts.tokenize([both])
    assert question.start == expected.start
    for name in expected.fields:
        np.testing.assert_array_equal(question.fields[name], expected.fields[name])
        np.testing.assert_array_equal(shown.span[name], picture.span[name])
    np.testing.assert_array_equal(shown.places["vision"], picture.places["vision"])


def test_spans_follow_the_picture_size():
    data = [sample(0), sample(1, image=picture(7).resize((96, 32)))]
    _, ((_, square), (_, wide)) = prompter(sized()).tokenize(data)
    assert (square.places["vision"].sum(), wide.places["vision"].sum()) == (16, 12)
    assert square.layout["image_grid_thw"].tolist() == [[1, 8, 8]]
    assert wide.layout["image_grid_thw"].tolist() == [[1, 4, 12]]


def test_candidates_are_tokenized_after_the_prompt():
    tokenizer = prefix_space_tokenizer()
    template = "USER: <image>{{ messages[0]['content'][1]['text'] }} ASSISTANT:"

    def first(template):
        prompts = prompter(loaded("llava"), processor_of(tokenizer, template))
        tokens = prompts.candidate_tokens(CANDIDATES, "is it red?")
        return tokenizer.convert_ids_to_tokens([own[0] for own in tokens])

    assert all(token.startswith("▁") for token in first(template))
    assert not any(token.startswith("▁") for token in first(template + "{{ '\\n' }}"))


def test_bert_prompt_starts_with_cls_and_has_no_sep():
    words = [
        "[UNK]",
        "[PAD]",
        "[CLS]",
        "[SEP]",
        "question",
        "answer",
        ":",
        "red",
        "or",
        "blue",
        "?",
    ]
    core = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    )
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=core, **names)
    model = loaded("blip")
    processor = hf.BlipProcessor(
        image_processor=model.processor.image_processor, tokenizer=tokenizer
    )
    data = [sample(0, question="red or blue?")]
    (question,) = questions_of(prompter(model, processor), data)
    assert (
        tokenizer.convert_ids_to_tokens(question.fields["input_ids"])
        == "[CLS] question : red or blue ? answer :".split()
    )
    assert tokenizer.convert_ids_to_tokens(question.language_ids) == ["red", "or", "blue", "?"]


def test_unusable_chat_templates_are_refused():
    model = loaded("llava")
    for change in ("upper", "tojson", "e", "replace('\\n', ' ')"):
        text = "{{ messages[0]['content'][1]['text'] | " + change + " }}"
        processor = processor_of(byte_level_tokenizer(), f"USER: <image>{text}\n")
        with pytest.raises(ValueError, match="the chat template changes questions: .* in 'USER"):
            prompter(model, processor).render("is it red?")
    with pytest.raises(ValueError, match="no chat template"):
        prompter(model, processor_of(byte_level_tokenizer(), None))


def test_candidates_need_tokens_of_their_own():
    tokenizer = byte_level_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace("\u200b", ""), normalizers.Lowercase()]
    )
    template = "USER: <image>{{ messages[0]['content'][1]['text'] }} ASSISTANT: "
    prompts = prompter(loaded("llava"), processor_of(tokenizer, template))
    with pytest.raises(ValueError, match="the tokenizer has no tokens for it"):
        prompts.candidate_tokens(("red", "\u200b"), "is it red?")
    with pytest.raises(ValueError, match="'Red' has the tokens of 'red'; rename it"):
        prompts.candidate_tokens(("red", "Red"), "is it red?")


def dated(template):
    question = "{{ messages[0]['content'][1]['text'] }}"
    return processor_of(byte_level_tokenizer(), f"USER: {template}<image>{question}\n")


def test_prompts_are_the_same_every_day():
    template = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %} "
    prompts = prompter(loaded("llava"), dated(template))
    assert prompts.render("is it red?") == "USER: 26 Jul 2024 <image>is it red?"
    named = dated(template)
    named.chat_template = {"default": named.chat_template}
    assert prompter(loaded("llava"), named).render("") == "USER: 26 Jul 2024 <image>"
    computed = dated("{% set form = '%d' %}{{ strftime_now(form) }}")
    with pytest.raises(ValueError, match="computes with the date; state a fixed date"):
        prompter(loaded("llava"), computed)
