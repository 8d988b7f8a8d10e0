"""Generated from the protos by tools/contract. DO NOT EDIT."""
