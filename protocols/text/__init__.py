"""Devices that speak text: frames by regular expression, their checksums, their fields as values.

checksums   by name: `xor8` (NMEA), `sum8`, `crc16-modbus` ...
fields      a capture's text as a tag's value, and a value as text
formats     what the settings of a device say, checked
framer      frames out of a stream of bytes with noise in it
"""
