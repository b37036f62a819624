"""Norms of a masked linear map, one file per method; each says which way it errs."""
