"""SHARP's trees for jobs: one per rail, apart where the hardware wants them apart, as many jobs at once as the fabric allows.

`ways` finds the trees of one rail, `packing` chooses them for all jobs, `bound` says that more are impossible, `reasons` what
keeps a job out, `copies` how many jobs like one there can be, `plan` puts it together; `files` and `policy` write NVIDIA's
configuration.
"""
