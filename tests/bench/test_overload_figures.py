from serendip_bench.scripts.overload import Answers


def test_answers_that_come_after_the_end_are_no_throughput() -> None:
    answers = Answers(seconds=10.0)
    for _ in range(300):
        answers.add(200, 20.0)
    answers.add(429, 1.0, says_when=False)
    assert answers.answered_per_s == 30.0
    answers.until_last_s = 60.0
    told = answers.summarise()
    assert told["answered_per_s"] == 5.0
    assert told["asked_per_s"] == 30.1
    assert told["refused_without_retry_after"] == 1
    assert told["shares"] == {"200": 0.9967, "429": 0.0033}
