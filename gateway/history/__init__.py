"""What a history says to people: what each change did, who wrote what, and the way back.

Pure functions over documents and changes as docs/reference/protocol.md#the-change describes them.
"""
