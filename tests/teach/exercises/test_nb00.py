import lliptools as ll

RIGHT = {"norm": 4, "lipschitz": 6, "relu": 0, "margin": 0.5, "rows": 128}


def test_self_test():
    assert ll.check.self_test(**RIGHT).status == "right"
    assert ll.check.self_test().status == "not attempted"
    assert ll.check.self_test(**dict.fromkeys(RIGHT)).status == "not attempted"
    wrong = ll.check.self_test(**{**RIGHT, "norm": 5, "margin": 1.5})
    assert wrong.status == "wrong"
    assert "section A" in wrong.message
    assert "section D" in wrong.message
    assert "section B" not in wrong.message
    unfinished = ll.check.self_test(**{**RIGHT, "relu": None})
    assert unfinished.status == "not attempted"
    assert "put a number for relu" in unfinished.message
    assert "norm: a number is wanted" in ll.check.self_test(**{**RIGHT, "norm": "four"}).message
    assert "no question ['nrom']" in ll.check.self_test(nrom=4).message
