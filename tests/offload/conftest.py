from emulator.ufm_fixture import identities, ufm

__all__ = ["identities", "ufm"]
