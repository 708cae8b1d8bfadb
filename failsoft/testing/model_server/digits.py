"""What real models read in scikit-learn's handwritten digits, worked out once: serving is then looking up.

The models learn from the even rows of the data, as those of the digits pipeline do, so that what they say of the odd rows
is said of images they have not seen. The service time is the server's business, so that two cores can serve what would be
a hundred trees per call.
"""

from collections.abc import Iterable, Mapping

from failsoft.testing.model_server.settings import DigitReader

PIXELS = 64
INK_MAX = 16.0

Image = tuple[float, ...]
Readings = Mapping[Image, str]


def read_digits(readers: Iterable[DigitReader]) -> dict[DigitReader, Readings]:
    """Train the models and let each read every image; takes a second or two.

    Raises:
        ImportError: scikit-learn, of the ``demo`` extra, is not there.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, and only the `demo` extra brings it
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - scikit-learn needs it too

    images, digits = load_digits(return_X_y=True)
    ink = images / INK_MAX  # trees do not mind the scale, the regression does
    makers = {
        DigitReader.TREES: lambda: ExtraTreesClassifier(100, random_state=0),
        DigitReader.REGRESSION: lambda: LogisticRegression(max_iter=1000),
    }
    pixels = [tuple(image) for image in images.tolist()]
    # More threads on so small a matrix product only wait for each other: on a busy machine 18 s instead of 0.4.
    with threadpool_limits(1):
        return {
            reader: dict(zip(pixels, map(str, makers[reader]().fit(ink[::2], digits[::2]).predict(ink)), strict=True))
            for reader in set(readers)
        }


def image_of(prompt: str) -> Image | None:
    """The image that a prompt consists of, None if it is something else."""
    numbers = prompt.split()
    if len(numbers) != PIXELS:
        return None
    try:
        return tuple(map(float, numbers))
    except ValueError:
        return None
