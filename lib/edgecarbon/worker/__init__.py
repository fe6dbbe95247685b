"""What runs on a device: training under an energy recorder, one JSON spec in, one result out.

This package travels to devices as a zipapp. It imports the standard library, torch, transformers and
`edgecarbon.meters`, and nothing else.
"""
