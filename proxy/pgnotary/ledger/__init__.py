"""What is written for ever: canonical bytes, seals, the Merkle tree over entries, and signed checkpoints.

Everything here is a function of its arguments: keys, salts and times come in, bytes and hashes leave.
Whatever is hashed or signed is byte-exact, carries its version inside, and is pinned by golden vectors.
"""
