"""What the notebooks share: the connection to the warehouse, the window of time that they show,
and the style of their plots."""

import html
import logging
import os
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import matplotlib.dates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import psycopg
from IPython.display import HTML, display
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib_inline.backend_inline import set_matplotlib_formats
from psycopg import sql

# Text stays text in the SVG: the browser has glyphs of scripts that matplotlib’s font lacks.
set_matplotlib_formats("svg")
plt.rcParams.update({
    "svg.fonttype": "none",
    # Posts have dollar signs that don't mean formulas.
    "text.parse_math": False,
    "figure.figsize": (10, 4.5),
    "figure.dpi": 100,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.titlelocation": "left",
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlepad": 24,
    "axes.labelcolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eeeeee",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "font.size": 10,
})
warnings.filterwarnings("ignore", message="Glyph .* missing from font")
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

# Colours that people with any colour vision tell apart (Okabe and Ito).
BLUE, SKY, GREEN, ORANGE, RED, PINK, BLACK, GREY = (
    "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#333333", "#999999")
PLATFORMS = {"x": BLACK, "facebook": BLUE, "youtube": RED, "bluesky": SKY, "mastodon": PINK}
NAMES = {"x": "X", "facebook": "Facebook", "youtube": "YouTube", "bluesky": "Bluesky",
         "mastodon": "Mastodon"}
LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech",
    "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew",
    "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian",
    "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "sk": "Slovak", "sl": "Slovene", "sr": "Serbian", "sv": "Swedish",
    "ta": "Tamil", "th": "Thai", "tl": "Tagalog", "tr": "Turkish", "uk": "Ukrainian",
    "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}

# The widths that a bin of time may have: the narrowest that makes at most BINS_MAX bins is taken.
# More bins show more detail, and more noise.
STEPS = [timedelta(seconds=s) for s in (
    1, 2, 5, 10, 30, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 86400, 7 * 86400, 28 * 86400)]
BINS_MAX = 150
# A longer label would leave no room for the plot.
LABEL_CHARS_MAX = 30
# Bins begin at multiples of their width from this Monday on.
ORIGIN = datetime(2000, 1, 3, tzinfo=timezone.utc)
# The part of the posts at each end of time that a window may leave out where the others then
# fill more than half of it: some platforms give posts that are years older than the rest.
OUTLIERS_PART = 0.001


class WarehouseError(Exception):
    """An error that is shown as one line instead of a traceback."""

    def _render_traceback_(self):
        return [f"{type(self).__name__}: {self}"]


@dataclass
class Window:
    """A range of time, and the bins that it is cut into."""

    start: datetime
    end: datetime
    step: timedelta
    posts: int
    left_out: int

    @property
    def params(self):
        """The parameters of a query."""
        return {"start": self.start, "end": self.end, "step": self.step, "origin": ORIGIN}

    @property
    def bins(self):
        """When each bin begins."""
        first = ORIGIN + (self.start - ORIGIN) // self.step * self.step
        return pd.date_range(first, self.end, freq=pd.Timedelta(self.step), unit="us")

    def table(self, frame, column="posts", by="platform", time="time"):
        """A column of `frame` by bins and by the values of `by`, with 0 where there is no row."""
        table = frame.pivot_table(index=time, columns=by, values=column, aggfunc="sum")
        return table.reindex(self.bins).fillna(0)

    @property
    def unit(self):
        """The unit of time of rates: a minute, or a day where bins are days."""
        return "day" if self.step >= timedelta(days=1) else "minute"

    def rates(self, counts):
        """Counts by bin as posts per unit of time. The first and the last bin count by the
        part of them that is within the window; with less than half they aren't shown."""
        step = pd.Timedelta(self.step)
        ends = np.minimum(counts.index + step, pd.Timestamp(self.end))
        starts = np.maximum(counts.index, pd.Timestamp(self.start))
        covered = np.asarray((ends - starts) / step)
        if len(counts) < 3:
            covered = np.ones(len(counts))
        whole = covered >= 0.5
        unit = timedelta(days=1) if self.unit == "day" else timedelta(minutes=1)
        return counts[whole].div(covered[whole] * (self.step / unit), axis=0)


def connect():
    """Connects to the warehouse of DATABASE_URL, and says what is in it."""
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise WarehouseError("DATABASE_URL isn't set: start the notebooks by notebooks/run --open, "
                             "or set it to the address of a warehouse (postgresql://…)")
    try:
        connection = psycopg.connect(url, autocommit=True)
    except psycopg.Error as error:
        raise WarehouseError(f"can't connect to DATABASE_URL: {str(error).strip()}") from None
    schema = os.environ.get("WATERSPOUT_SCHEMA", "waterspout")
    with connection.cursor() as cursor:
        cursor.execute("set timezone = 'UTC'; set default_transaction_read_only = on")
        cursor.execute(sql.SQL("set search_path = {}").format(sql.Identifier(schema)))
        cursor.execute("select to_regclass('posts') is not null")
        there = cursor.fetchone()[0]
    if not there:
        say(f"The database has no warehouse in the schema “{schema}”. "
            "notebooks/run fills one; waterspout warehouse init makes an empty one.")
    return Warehouse(connection, there)


class Warehouse:
    """A connection to a warehouse."""

    def __init__(self, connection, there):
        self.connection = connection
        self.there = there

    def query(self, query, params=None):
        """The rows of a query; none if there is no warehouse."""
        if not self.there:
            return pd.DataFrame()
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(query, params)
                columns = [column.name for column in cursor.description]
                return pd.DataFrame(cursor.fetchall(), columns=columns)
        except psycopg.errors.UndefinedTable as error:
            what = (f"{error.diag.message_primary}: the warehouse is of another version; "
                    "waterspout warehouse init brings it up to date")
            raise WarehouseError(what) from None

    def window(self):
        """The time of the posts, from WATERSPOUT_FROM to WATERSPOUT_TO where those are set."""
        days = self.query("""
            select date_trunc('day', created_at) as day, count(*) as posts,
                   min(created_at) as first, max(created_at) as last
            from posts
            where created_at >= coalesce(%(from)s, timestamptz '-infinity')
              and created_at <= coalesce(%(to)s, timestamptz 'infinity')
            group by 1 order by 1
        """, {"from": time_of("WATERSPOUT_FROM"), "to": time_of("WATERSPOUT_TO")})
        if days.empty:
            return Window(ORIGIN, ORIGIN, STEPS[0], 0, 0)
        shown = most_of(days)
        start = shown["first"].iloc[0].to_pydatetime()
        end = shown["last"].iloc[-1].to_pydatetime()
        steps = [step for step in STEPS if (end - start) / step <= BINS_MAX]
        posts = int(shown["posts"].sum())
        left_out = int(days["posts"].sum()) - posts
        say(f"{posts:,} {'post' if posts == 1 else 'posts'} from {when(start)} to {when(end)}." + (
            f" Posts of other times that aren’t shown: {left_out:,}." if left_out else ""))
        return Window(start, end, (steps or STEPS[-1:])[0], posts, left_out)


def most_of(days):
    """The days without the few far ones at both ends, if the others are within half the time."""
    before = days["posts"].cumsum() - days["posts"]
    total = days["posts"].sum()
    after = total - before - days["posts"]
    few = total * OUTLIERS_PART
    inner = days[(before + days["posts"] > few) & (after + days["posts"] > few)]
    length = days["day"].iloc[-1] - days["day"].iloc[0]
    if inner.empty or inner["day"].iloc[-1] - inner["day"].iloc[0] > length / 2:
        return days
    return inner


def time_of(name):
    """The time that a variable of the environment says, as UTC unless it has a zone."""
    text = os.environ.get(name)
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise WarehouseError(
            f"{name}: expected a time such as 2015-12-18T12:00:00Z, found “{text}”") from None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def has_rows(frame, otherwise):
    """True if there are rows; otherwise says why not."""
    if frame.empty:
        say(otherwise)
    return not frame.empty


def show(frame):
    """Shows a table: times in UTC, and nothing where nothing is known."""
    shown = frame.copy()
    for column in shown.select_dtypes("datetimetz"):
        shown[column] = shown[column].dt.strftime("%Y-%m-%d %H:%M:%S")
    for column in shown.select_dtypes("float"):
        shown[column] = shown[column].map(lambda number: f"{number:,.10g}")
    shown = shown.astype(object).where(frame.notna(), "")
    shown.columns = [column.replace("_", " ") for column in shown.columns]
    display(HTML(shown.to_html(index=False, border=0, justify="left")))


def say(text):
    """Shows a sentence."""
    display(HTML(f"<p style='color:#555'>{html.escape(text)}</p>"))


def when(time):
    """A time for people."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def width(step):
    """The width of a bin for people: "5 minutes"."""
    for unit, seconds in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, rest = divmod(step.total_seconds(), seconds)
        if count and not rest:
            return unit if count == 1 else f"{count:.0f} {unit}s"
    return f"{step.total_seconds()} seconds"


def duration(seconds):
    """A duration for people: "1.5 hours"."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60), ("s", 1)):
        if seconds >= size * 0.995:
            count = seconds / size
            text = f"{count:,.0f}" if count >= 10 else f"{count:.2g}"
            return f"{text} {unit[:-1] if text == '1' and unit != 's' else unit}"
    return f"{seconds * 1000:.0f} ms"


def short(number):
    """A number for people: "12k"."""
    for unit, size in (("tn", 1e12), ("bn", 1e9), ("m", 1e6), ("k", 1e3)):
        if abs(number) >= size * 0.9995:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def hashtag_label(hashtag):
    """A hashtag with its sign, cut where it is long."""
    return f"#{hashtag}" if len(hashtag) <= LABEL_CHARS_MAX else f"#{hashtag[:LABEL_CHARS_MAX]}…"


def log_axis(axis, text=short):
    """Makes an axis logarithmic, with numbers for people."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < low * 100 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda number, _: text(number)))
    axis.set_minor_formatter(NullFormatter())


def duration_axis(axis, low, high):
    """Makes an axis one of durations in seconds, logarithmic, with marks that people use."""
    marks = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400,
             365 * 86400, 3650 * 86400]
    marks = [mark for mark in marks if low * 0.7 <= mark <= high * 1.4]
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_ticks(marks, [duration(mark) for mark in marks])
    axis.set_minor_locator(NullLocator())


def name(platform):
    """The name of a platform for people."""
    return NAMES.get(platform, platform)


def colour(platform):
    """The colour of a platform."""
    return PLATFORMS.get(platform, GREEN)


def rows_of_axes(count, height=0.9, **options):
    """A figure of axes below each other with one axis of time."""
    figure, axes = plt.subplots(count, 1, sharex=True, squeeze=False,
                                figsize=(10, 1.2 + height * count), **options)
    return figure, axes[:, 0]


def headline(axes, title, subtitle=""):
    """Puts what is seen above a plot, and below that in small letters how to read it."""
    axes.set_title(title)
    axes.annotate(subtitle, (0, 1), (0, 7), xycoords="axes fraction",
                  textcoords="offset points", color="#777777", fontsize=9.5)


def label(axes, text, color, y=0.5):
    """Writes beside the right end of axes what they show."""
    axes.annotate(text, (1, y), (8, 0), xycoords="axes fraction", textcoords="offset points",
                  va="center", color=color, fontweight="bold", annotation_clip=False)


def label_lines(axes, ends):
    """Writes beside the right end of lines what they show, (y, text, colour) for each, so that no
    text lies on another."""
    axes.figure.canvas.draw()
    bottom, top = axes.get_window_extent().get_points()[:, 1]
    places = sorted((axes.transData.transform((0, y))[1], text, color) for y, text, color in ends)
    line = 14 * axes.figure.dpi / 100 * 1.15
    heights = []
    for height, _, _ in places:
        heights.append(max(height, heights[-1] + line) if heights else height)
    surplus = max(0, heights[-1] - top) if heights else 0
    for i in range(len(heights)):
        heights[i] -= surplus
    for i in reversed(range(len(heights) - 1)):
        heights[i] = min(heights[i], heights[i + 1] - line)
    for height, (_, text, color) in zip(heights, places):
        label(axes, text, color, (height - bottom) / (top - bottom))


def time_axis(axes, window):
    """Makes the axis below a plot one of time in UTC."""
    axes.set_xlim(window.start, max(window.end, window.start + window.step))
    locator = matplotlib.dates.AutoDateLocator(minticks=3, maxticks=9)
    formatter = matplotlib.dates.ConciseDateFormatter(locator, show_offset=False)
    formatter.zero_formats = ["%Y", "%Y", "%b", "%b %d", "%H:%M", "%H:%M:%S"]
    formatter.formats = ["%Y", "%b", "%b %d", "%H:%M", "%H:%M", "%H:%M:%S"]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)
    axes.set_xlabel(f"UTC, {window.start:%Y-%m-%d}" + (
        f" to {window.end:%Y-%m-%d}" if window.end.date() != window.start.date() else ""))


def count_axis(axes, ticks=4):
    """Makes the axis beside a plot one of numbers from 0 on."""
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10], min_n_ticks=2))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: short(number)))


def shade_gaps(axes, gaps):
    """Shades when posts may be missing, darker while that isn't filled."""
    for gap in gaps.itertuples():
        axes.axvspan(gap.from_time, gap.to_time, color=RED, lw=0, alpha=0.07 if gap.filled else 0.2)
