"""The digital twin: the real subnet manager, OpenSM, on the simulator ibsim, fed with any `Fabric`."""
