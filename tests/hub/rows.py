"""Parquet files in the schemas of the data sets of the hub."""

import io

import datasets
from PIL import Image

from pidlib.benchmarks.hub_sources import TASKS

SIZE = 16  # rows of each table


def encoded(index: int, width: int = 4) -> dict:
    """Encode a picture as the Image feature does; its color is its index."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, 6), (index % 256, index // 256, 50)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


ROWS = {
    "mmbench": lambda i: (
        {
            "index": i,
            "question": f"what is {i}?",
            "hint": "look" if i % 2 else "nan",
            "category": "ocr",
        }
        | {
            "A": "one",
            "B": "two",
            "C": "three" if i % 2 else "nan",
            "D": None,
            "answer": "AB"[i % 2],
            "image": encoded(i),
        }
    ),
    "mmstar": lambda i: (
        {
            "question": f"which {i}?\nOptions: A: one, B: two, C: three, D: four",
            "answer": "D",
            "category": "math",
        }
        | {"image": encoded(i)}
    ),
    "pope": lambda i: (
        {"question": f"Is there a {i}?", "answer": ("yes", "no")[i % 2], "category": "random"}
        | {"image_source": f"COCO_{i // 2}", "image": encoded(i // 2)}
    ),
    "mmmu": lambda i: (
        {
            "question": f"<image 1> why {i}?",
            "options": "['one', 'two']",
            "answer": "B",
            "question_type": "multiple-choice",
        }
        | {"subfield": "Cardiology", "image_1": encoded(i)}
    ),
    "pmc_vqa": lambda i: (
        {
            "caption": f"figure {i}",
            "question": f"what {i}?",
            "answer label": "C",
            "image": encoded(i),
        }
        | {f"choice {x}": f"{x.upper()}:stain {x}" for x in "abcd"}
    ),
    "reefknot": lambda i: (
        {
            "image_id": str(i),
            "query_prompt": "Is the dog on bear in this photo? Please answer yes or no.",
            "label": "yes",
        }
        | {"relation_type": "perception", "image": encoded(i)}
    ),
    "vqav2": lambda i: (
        {
            "question": f"how many {i}?",
            "multiple_choice_answer": f"{i % 12}",
            "image_id": i,
            "question_type": "how many",
        }
        | {"image": encoded(i)}
    ),
    "gqa": lambda i: {
        "question": f"what colour {i}?",
        "answer": ("blue", "dark red")[i % 2],
        "imageId": f"n{i // 2}",
    },
    "nlvr2": lambda i: (
        {
            "question": f"There are {i} dogs.",
            "answer": ("True", "False")[i % 2],
            "left_image": encoded(i),
        }
        | {"right_image": encoded(i, width=9)}
    ),
    "foil": lambda i: {
        "image_id": i,
        "caption": f"A dog and {i} cats.",
        "foil": bool(i % 2),
        "image": encoded(i),
    },
    "scienceqa": lambda i: (
        {"question": f"which {i}?", "choices": ["one", "two", "three"], "answer": i % 3, "hint": ""}
        | {"subject": "biology", "image": encoded(i) if i % 4 else None}
    ),
}


def write(folder, task: str, rows: list[dict], pattern: str = "") -> str:
    """Write the rows to a file that fits the pattern; return the benchmark's name."""
    path = folder / (pattern or TASKS[task].files).replace("*", "00000-of-00001")
    path.parent.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_list(rows)
    for name in (*TASKS[task].images, "image"):
        if name in table.column_names:
            table = table.cast_column(name, datasets.Image())
    table.to_parquet(str(path))
    return f"hub/{task}@{folder}"


def stored(folder, task: str, size: int = SIZE) -> str:
    if task == "gqa":
        write(
            folder,
            task,
            [{"id": f"n{i}", "image": encoded(i)} for i in reversed(range(size))],
            TASKS[task].pictures,
        )
    return write(folder, task, [ROWS[task](i) for i in range(size)])
