"""The steps by which the archive's tables came to be, by number; a step that was released is never edited."""
