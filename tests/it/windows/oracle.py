"""Makes the windows of documents with zoneinfo and dateutil, and compares them with Probity's.

Reads one JSON object a line: zone, ours (context["x-probity"]), window, and windows as [from, to] in seconds of the
Unix time, all those that overlap [from, to). Validity is from the window's initial to 2040. Written from
docs/agreements.md, not from Probity's source.
"""

import json
import sys
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from dateutil.rrule import rrulestr

EPOCH = datetime(1970, 1, 1)
MONTHS = {"monthly": 1, "bimonthly": 2, "quarterly": 3, "fiscalQuarterly": 3, "yearly": 12, "fiscalYearly": 12}
DAYS = {"daily": 1, "weekly": 7, "isoWeekly": 7, "biweekly": 14}
WEEKDAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
END = datetime(2040, 1, 1)


def instant(civil, zone):
    """fold=0: of a time that occurs twice the first; one that is skipped moves forward (PEP 495)."""
    return round(civil.replace(tzinfo=zone, fold=0).timestamp())


def civil(seconds, zone):
    return datetime.fromtimestamp(seconds, zone).replace(tzinfo=None, fold=0)


def iso_year(year):
    return datetime.fromisocalendar(year, 1, 1)


def pieces(name, initial, ours, zone, last):
    """[start, end) of steps until one starts at or after `last`, in seconds."""
    if name == "hourly":
        start = instant(initial, zone)
        return [(at, at + 3600) for at in range(start, last, 3600)]
    start = initial
    first_month = (ours or {}).get("fiscalYear", {}).get("firstMonth", 1)
    if name == "isoWeekly":
        start = datetime.combine(initial.date() - timedelta(days=initial.weekday()), time())
    if name in ("fiscalQuarterly", "fiscalYearly"):
        start = datetime(initial.year, initial.month, 1)
        while (start.month - first_month) % MONTHS[name]:
            start -= relativedelta(months=1)
    if name == "isoYearly":
        year = initial.isocalendar().year
        nth = lambda i: iso_year(year + i)
    elif name in MONTHS:
        nth = lambda i: start + relativedelta(months=i * MONTHS[name])
    else:
        nth = lambda i: start + timedelta(days=i * DAYS[name])
    found, i = [], 0
    while True:
        begin, end = instant(nth(i), zone), instant(nth(i + 1), zone)
        if begin >= last:
            return found
        if begin < end:
            found.append((begin, end))
        i += 1


def occurrences(text, initial, until):
    rule = rrulestr(text.replace("Z", ""), dtstart=initial, forceset=True)
    return rule.between(datetime(1900, 1, 1), until, inc=True)


def ruled(window, initial, zone):
    if "rule" in window:
        days = dict.fromkeys(at.date() for at in occurrences(window["rule"], initial, END))
        pairs = [(datetime.combine(day, time()), datetime.combine(day + timedelta(days=1), time())) for day in days]
    else:
        starts, ends = window["rules"].split("---")
        ends = [at + timedelta(seconds=1) if at.second == 59 else at for at in occurrences(ends, initial, datetime(2041, 1, 1))]
        pairs = zip(occurrences(starts, initial, END), ends)
    found = [(instant(start, zone), instant(end, zone)) for start, end in pairs]
    return [pair for pair in found if pair[0] < pair[1]]


def open_days(calendar, initial):
    holidays = set()
    for text in calendar.get("holidays", []):
        if "=" in text:
            holidays |= {at.date() for at in occurrences(text, datetime(initial.year, 1, 1), datetime(initial.year + 30, 1, 1))}
        else:
            holidays.add(date.fromisoformat(text))
    opens, closes = (time.fromisoformat(text) for text in calendar["hours"].split("-"))
    return lambda day: (
        None
        if WEEKDAYS[day.weekday()] not in calendar["days"] or day in holidays
        else (datetime.combine(day, opens), datetime.combine(day, closes))
    )


def open_part(piece, opened, zone):
    start, end = civil(piece[0], zone).date(), civil(piece[1], zone).date()
    found = []
    while start <= end:
        hours = opened(start)
        if hours:
            part = max(instant(hours[0], zone), piece[0]), min(instant(hours[1], zone), piece[1])
            if part[0] < part[1]:
                found.append(part)
        start += timedelta(days=1)
    return (found[0][0], found[-1][1]) if found else None


def windows(question):
    zone, window, ours = ZoneInfo(question["zone"]), question["window"], question["ours"]
    initial = datetime.fromisoformat(window["initial"])
    first = instant(initial, zone)
    start, end = max(question["from"], first), min(question["to"], instant(END, zone))
    asked = lambda part: part[1] > start and part[0] < end
    name = window.get("step") if window.get("type") == "rolling" else window["period"]
    if name.startswith("customRule"):
        return [pair for pair in ruled(window, initial, zone) if asked(pair)]
    cut = pieces(name, initial, ours, zone, end)
    if "x-probity" in window:
        opened = open_days(ours["calendars"][window["x-probity"]["calendar"]], initial)
        parts = (open_part(piece, opened, zone) for piece in cut if piece[1] > start - 40 * 86400)
        return [part for part in parts if part and asked(part)]
    cut = [piece for piece in cut if asked(piece)]
    if window.get("type") == "rolling":
        if window["length"] == "PT36H":
            reach = lambda to: to - 36 * 3600
        else:
            reach = lambda to: instant(civil(to, zone) - relativedelta(months=1) - timedelta(days=1), zone)
        return [(max(reach(to), first), to) for _, to in cut]
    return cut


def main():
    documents = compared = wrong = 0
    for line in sys.stdin:
        question = json.loads(line)
        ours, theirs = [tuple(pair) for pair in question["windows"]], windows(question)
        documents += 1
        compared += len(theirs)
        if ours != theirs:
            wrong += 1
            if wrong <= 5:
                near = next((i for i, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]), min(len(ours), len(theirs)))
                print(question["zone"], question["window"], question["ours"], f"{len(ours)} and {len(theirs)} windows")
                print("  window", near, "Probity:", ours[near : near + 2], "Python:", theirs[near : near + 2])
    if wrong or not compared:
        sys.exit(f"{wrong} of {documents} documents differ")
    print(json.dumps({"documents": documents, "windows": compared}))


if __name__ == "__main__":
    main()
