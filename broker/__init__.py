"""The contract and the transport: topics, messages, declarations, the runtime, access rules, the broker launcher."""
