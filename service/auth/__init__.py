"""Who is calling: principals, and the verifiers that turn a credential into one."""
