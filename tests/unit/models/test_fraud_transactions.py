import numpy as np

from models.fraud.transactions import Transactions


def rows(cards: list[object], dtype: type = object) -> Transactions:
    n = len(cards)
    return Transactions(
        tx_id=np.arange(n),
        card_id=np.array(cards, dtype),
        terminal_id=np.zeros(n, np.int64),
        amount=np.ones(n),
        event_time=np.arange(n) * 1000,
        is_fraud=np.zeros(n, np.bool_),
        scenario=np.zeros(n, np.int8),
    )


def test_no_transactions_have_no_cards() -> None:
    codes, number = rows([]).card_codes()
    assert len(rows([])) == 0
    assert (codes.tolist(), number) == ([], 0)


def test_equal_ids_get_equal_codes_whether_text_or_numbers() -> None:
    assert rows(["b", "a", "b"]).card_codes()[0].tolist() == [1, 0, 1]
    assert rows([70, 3, 70], np.int64).card_codes()[0].tolist() == [1, 0, 1]
    assert rows(["b", "a"]).terminal_codes()[1] == 1


def test_what_is_cut_apart_can_be_joined_again() -> None:
    whole = rows(["b", "a", "b", "c"])
    joined = Transactions.concat([whole.take(slice(0, 1)), whole.take(np.array([1, 2, 3]))])
    assert joined.card_id.tolist() == whole.card_id.tolist()
    assert joined.event_time.tolist() == whole.event_time.tolist()
