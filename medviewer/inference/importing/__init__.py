"""Models that were made elsewhere, turned into model folders: what a file cannot say is asked, all of it is tried."""
