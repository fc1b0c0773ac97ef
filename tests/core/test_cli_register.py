import pytest

COMMON = ("register", "--backend", "toy", "--model", "random", "--out", "out")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give FIXED and MOVING"),
        (("a",), "give FIXED and MOVING"),
        (("a", "b", "--resume"), "is for a batch"),
        (("a", "b", "--pairs", "c.csv"), "leave fixed, moving out"),
        (("--pairs", "c.csv", "--landmarks", "l.csv"), "leave landmarks out"),
        (("--pairs", "c.csv", "--resume", "--overwrite"), "one of the two"),
        (("a", "b"), "cannot register files"),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(cst, arguments, words):
    said = cst(*COMMON, *arguments)
    assert said.code == 2
    assert words in said.err
    assert len(said.err.splitlines()) == 1


def test_files_that_are_missing_are_said_before_a_model_is_loaded(cst, tmp_path):
    said = cst("register", "--backend", "image", "--model", "no-such", tmp_path / "a.nii", tmp_path / "b.nii",
               "--out", tmp_path / "out")  # fmt: skip
    assert said.code == 1
    assert f"{tmp_path}/a.nii: no such file (given as fixed)" in said.err
