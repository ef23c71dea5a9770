"""Starting and supervising a gateway: directories, workers, generations, the live table."""
