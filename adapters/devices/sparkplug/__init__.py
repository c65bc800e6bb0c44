"""Sparkplug B: payloads, and the state of edge nodes as a host application sees it. Pure."""
