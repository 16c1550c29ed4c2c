"""The measures, by what they are about; `bench.registry` lists them."""
