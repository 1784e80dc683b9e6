"""Whether a ledger is whole and what it says is true: the numbered checklist, with nothing to trust but public keys.

Entries, checkpoints and keys enter; a summary leaves, or `LedgerBroken` with every fault. Nothing here reads a file, a
clock or a network, so a second verifier can be held against it line by line.
"""
