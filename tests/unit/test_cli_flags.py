"""What flags make of a job, and of one that a file describes."""

from infra.cli.flags import over, terms, work


def test_only_what_was_said_is_asked_for() -> None:
    assert terms(None, None, None, None, None) == {}
    assert work(None, None, None, None) == {}
    assert terms(["a"], "90s", 3, "linear", "dead") == {
        "tags": ["a"],
        "timeout": 90.0,
        "retry": {"max_attempts": 3, "backoff": "linear"},
        "on_lost": "dead",
    }


def test_a_flag_about_retries_leaves_the_rest_of_what_the_file_says_about_them() -> None:
    file = {"retry": {"max_attempts": 9, "base": 1}, "queue": "a", "tags": ["x"]}
    asked = terms(["y"], None, 2, None, None)
    assert over(file, asked) == {
        "retry": {"max_attempts": 2, "base": 1},
        "queue": "a",
        "tags": ["y"],
    }
    assert over({"retry": None}, asked)["retry"] == {"max_attempts": 2}
