"""End-to-end encryption between clients' devices and this service; its state lives in our transactions.

Every Megolm message that we accept came from a device of its sender and is accepted once; every key that
we give goes to a device that its owner's pinned identity has signed.
"""

from appservice.crypto.errors import DecryptionError
from appservice.crypto.machine import Machine
from appservice.crypto.megolm_in import Decrypted
from appservice.crypto.megolm_out import OutboundState
from appservice.crypto.model import Hold, Puppet, Received, Recipients

__all__ = [
    "Decrypted",
    "DecryptionError",
    "Hold",
    "Machine",
    "OutboundState",
    "Puppet",
    "Received",
    "Recipients",
]
