from tests.flags.conftest import shelf_of_this_test

__all__ = ["shelf_of_this_test"]
