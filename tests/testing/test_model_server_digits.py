import runpy
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from failsoft.testing.model_server.digits import image_of, read_digits
from failsoft.testing.model_server.settings import DigitReader


def test_it_reads_images_as_the_models_of_the_digits_pipeline_do_mistakes_and_all():
    readings = read_digits(DigitReader)
    with threadpool_limits(1):  # see read_digits
        worker = runpy.run_path(str(Path(__file__).parents[2] / "workers" / "digits.py"))
    unseen, labels = worker["images"][1::2], [str(digit) for digit in worker["digits"][1::2]]
    for reader, expected in [
        (DigitReader.TREES, worker["trees"].predict(unseen)),
        (DigitReader.REGRESSION, worker["regression"].predict(unseen / worker["INK_MAX"])),
    ]:
        assert [readings[reader][tuple(image)] for image in unseen.tolist()] == [str(digit) for digit in expected]
    accuracy = {
        reader: sum(
            readings[reader][tuple(image)] == label for image, label in zip(unseen.tolist(), labels, strict=True)
        )
        / len(labels)
        for reader in DigitReader
    }
    assert accuracy[DigitReader.TREES] == pytest.approx(0.97, abs=0.01)
    assert accuracy[DigitReader.REGRESSION] == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (" ".join(["1"] * 64), (1.0,) * 64),
        ("\n".join(["0.5"] * 64), (0.5,) * 64),
        (" ".join(["1"] * 63), None),
        (" ".join(["1"] * 65), None),
        (" ".join(["one"] * 64), None),
        ("", None),
    ],
)
def test_a_prompt_is_an_image_if_it_is_64_numbers(prompt, expected):
    assert image_of(prompt) == expected
