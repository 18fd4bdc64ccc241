"""Samples normalize their pictures and refuse unusable inputs, naming the sample."""

import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pidlib.benchmarks import Sample, load
from pidlib.benchmarks.sample import as_displayed

RNG = np.random.default_rng(0)
PHOTO = Image.fromarray(RNG.integers(0, 256, (20, 40, 3), dtype=np.uint8))
SAMPLE = Sample("mine/0", "mine", "t", "what?", ("yes", "no"), "yes", "test")


def reopened(image, form="PNG", **options) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return Image.open(io.BytesIO(buffer.getvalue()))


def shown(image) -> np.ndarray:
    result = replace(SAMPLE, image=image).image
    assert result.mode == "RGB"
    return np.asarray(result)


def test_rgb_picture_is_kept_as_it_is():
    assert replace(SAMPLE, image=PHOTO).image is PHOTO
    np.testing.assert_array_equal(shown(reopened(PHOTO)), PHOTO)


def test_palette_gives_its_colors():
    indices = RNG.integers(0, 4, (8, 8), dtype=np.uint8)
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(colors.ravel().tolist())
    np.testing.assert_array_equal(shown(image), colors[indices])
    transparent = reopened(image, transparency=3)
    colors[3] = 255
    np.testing.assert_array_equal(shown(transparent), colors[indices])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "La", "RGBa"])
def test_transparency_is_shown_on_white(mode):
    drawing = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    drawing.putpixel((1, 2), (0, 0, 0, 255))
    drawing.putpixel((3, 3), (0, 0, 0, 128))
    image = drawing.convert("LA") if mode == "La" else drawing
    pixels = shown(image.convert(mode))
    assert pixels[0, 0].tolist() == [255] * 3 and pixels[2, 1].tolist() == [0] * 3
    np.testing.assert_allclose(pixels[3, 3], 127, atol=1)


def test_transparent_color_is_shown_on_white():
    image = Image.new("RGB", (4, 4), (1, 2, 3))
    image.putpixel((0, 0), (5, 5, 5))
    pixels = shown(reopened(image, transparency=(1, 2, 3)))
    assert pixels[0, 0].tolist() == [5] * 3 and pixels[1, 1].tolist() == [255] * 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    sample = replace(SAMPLE, image=reopened(PHOTO, exif=exif))
    assert sample.image.size == ((20, 40) if orientation > 4 else (40, 20))
    np.testing.assert_array_equal(replace(sample, answer="no").image, sample.image)
    turned = {1: PHOTO, 3: PHOTO.rotate(180), 6: PHOTO.rotate(-90, expand=True)}
    if orientation in turned:
        np.testing.assert_array_equal(sample.image, turned[orientation])


def test_sixteen_bits_are_scaled_to_eight():
    values = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    expected = np.repeat((values / 257).round().astype(np.uint8)[..., None], 3, -1)
    for image in (
        Image.fromarray(values),
        reopened(Image.fromarray(values)),
        reopened(Image.fromarray(values), "TIFF"),
        Image.fromarray(values.astype(np.int32)),
    ):
        np.testing.assert_array_equal(shown(image), expected)


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr", "HSV"])
def test_other_modes_are_converted(mode):
    image = PHOTO.convert(mode)
    np.testing.assert_array_equal(shown(image), image.convert("RGB"))


def cut_off() -> Image.Image:
    buffer = io.BytesIO()
    PHOTO.save(buffer, "JPEG")
    return Image.open(io.BytesIO(buffer.getvalue()[:-60]))


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        ("missing/photo.png", "cannot be read: .*No such file"),
        (b"no picture", "cannot be read: cannot identify"),
        (np.asarray(PHOTO), "is a ndarray, not a PIL image"),
        (Image.new("F", (4, 4)), "cannot be read: its values are floats"),
        (Image.fromarray(np.full((4, 4), 70000, np.int32)), "do not fit into 16 bits"),
        (Image.new("RGB", (0, 4)), "is empty"),
        (cut_off(), "cannot be read: .*truncated"),
    ],
)
def test_what_is_no_picture_is_refused(image, fault):
    with pytest.raises(ValueError, match=f"mine/0: the picture .*{fault}"):
        replace(SAMPLE, image=image)


@pytest.mark.parametrize("scale", [128, 32767, 2**31])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_sound_of_integer_scale_is_refused(scale, kind):
    clip = load("micro_av/polarity", "test", n=1)[0]
    loud = (clip.audio * scale).astype(kind)
    with pytest.raises(ValueError, match=f"{clip.sample_id}: the sound reaches .*, outside"):
        replace(clip, audio=loud)
    assert replace(clip, audio=1.2 * clip.audio / np.abs(clip.audio).max()).audio is not None


def test_a_file_and_encoded_bytes_are_decoded_on_access(tmp_path):
    PHOTO.save(tmp_path / "photo.png")
    for given in (tmp_path / "photo.png", str(tmp_path / "photo.png")):
        sample = replace(SAMPLE, image=given)
        assert sample.has_image and sample.media == replace(SAMPLE, image=PHOTO).media
    np.testing.assert_array_equal(shown((tmp_path / "photo.png").read_bytes()), PHOTO)
    PHOTO.rotate(180).save(tmp_path / "photo.png")
    np.testing.assert_array_equal(sample.image, PHOTO.rotate(180))
    assert not SAMPLE.has_image and pickle.loads(pickle.dumps(sample)).media == sample.media


def test_generated_pictures_are_not_copied():
    image = load("micro/scene", "test", n=1)[0].image
    assert as_displayed(image) is image
