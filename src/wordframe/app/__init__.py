"""The programs a person or another program calls: thin layers over the packages below."""
