"""What a hold asks and how an approver answers: the request, its context, and decisions signed with SSH keys.

Nothing here reads a file, a clock or a random source: keys, times and nonces come in as arguments. Signatures,
keys and rosters are OpenSSH's own formats, so `ssh-keygen` checks whatever is signed here, and the reverse.
"""
