"""Detection over HTTP: the service, its web page, and the fetching of pictures by address. Needs the extra `serve`."""
