"""What routes do to traffic: loads per channel, quality metrics, the flows behind a hot cable."""
