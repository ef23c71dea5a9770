"""The centre of a fleet: the streams of sites into a store; an outlet without devices."""
