"""Which declarations are active."""

from adapters.devices.catalog import Catalog, Unusable

A = '[sensor.a]\nfrom = "x/a"\nroom = "r"\n'
B = '[sensor.b]\nfrom = "x/b"\nroom = "r"\n'


def test_a_bad_file_changes_nothing() -> None:
    catalog = Catalog()
    catalog.update({"a.toml": A, "b.toml": B})
    for bad in ("[sensor.a", A + "vlaue = 1\n", "[senor.a]\n", Unusable("not UTF-8")):
        catalog.update({"a.toml": bad, "b.toml": B})
        assert set(catalog.declared) == {"sensor.a", "sensor.b"}
        assert list(catalog.errors) == ["a.toml"]
    catalog.update({"a.toml": A, "b.toml": B})
    assert not catalog.errors


def test_a_removed_file_ends_what_it_declared() -> None:
    catalog = Catalog()
    catalog.update({"a.toml": A, "b.toml": B})
    catalog.update({"b.toml": B})
    assert set(catalog.declared) == {"sensor.b"}


def test_the_file_that_has_changed_is_refused() -> None:
    catalog = Catalog()
    catalog.update({"a.toml": A, "b.toml": B})
    catalog.update({"a.toml": A + B, "b.toml": B})
    assert list(catalog.errors) == ["a.toml"]
    assert set(catalog.declared) == {"sensor.a", "sensor.b"}
    catalog.update({"a.toml": A + B})
    assert not catalog.errors
    assert catalog.declared["sensor.b"].file == "a.toml"


def test_a_bad_file_keeps_its_declarations_over_a_restart() -> None:
    before, after = Catalog(), Catalog()
    before.update({"a.toml": A})
    before.update({"a.toml": "[sensor.a"})
    after.restore(before.good)
    after.update({"a.toml": "[sensor.a"})
    assert set(after.declared) == {"sensor.a"}
    assert list(after.errors) == ["a.toml"]


def test_what_a_bad_file_would_declare_is_named() -> None:
    catalog = Catalog()
    catalog.update({"a.toml": A + "range = 3\n"})
    assert catalog.broken == {"sensor.a": "a.toml"}


def test_a_new_file_takes_no_name_while_it_is_stopped() -> None:
    before, after = Catalog(), Catalog()
    before.update({"b.toml": A})
    after.restore(before.good)
    after.update({"a.toml": A, "b.toml": A})
    assert list(after.errors) == ["a.toml"]
    assert after.declared["sensor.a"].file == "b.toml"
