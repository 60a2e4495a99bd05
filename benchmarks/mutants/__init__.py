"""Damaged files by the ten thousand: does opening them ever kill, hang or swell the program?"""
