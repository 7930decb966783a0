//! The text of a PDF: the letters of its pages in the order in which they are drawn, put into words and lines by where
//! they stand.

use hayro_cmap::BfString;
use hayro_interpret::font::{Glyph, GlyphRun};
use hayro_interpret::kurbo::{Affine, BezPath, Point, Rect, Vec2};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, SoftMask, interpret_page,
};
use hayro_syntax::{LoadPdfError, Pdf};

use crate::{Document, Problem};

/// The text of all pages.
pub fn read(bytes: &[u8]) -> Result<Document, Problem> {
    let pdf = Pdf::new(bytes.to_vec()).map_err(|error| match error {
        LoadPdfError::Decryption(_) => Problem::Encrypted,
        LoadPdfError::Invalid => Problem::Broken,
    })?;
    let mut lines = Lines::default();
    let mut scanned = Vec::new();
    for (at, page) in pdf.pages().iter().enumerate() {
        let cache = InterpreterCache::new();
        // Nothing is drawn, so where the page lies does not matter.
        let anywhere = Rect::new(0.0, 0.0, 1.0, 1.0);
        let mut context = Context::new(Affine::IDENTITY, anywhere, &cache, pdf.xref(), InterpreterSettings::default());
        let before = lines.text.len();
        lines.images = 0;
        interpret_page(page, &mut context, &mut lines);
        if lines.images > 0 && lines.text[before..].trim().is_empty() {
            scanned.push(at + 1);
        }
        lines.end_line();
    }
    let pages = pdf.pages().len();
    let mut letters = lines.text.chars().filter(|letter| !letter.is_whitespace());
    match letters.next() {
        None if pages == 0 => Err(Problem::Broken),
        None => Err(Problem::Scanned { pages }),
        Some(UNNAMED) if letters.all(|letter| letter == UNNAMED) => Err(Problem::Unnamed),
        Some(_) => Ok(Document { text: lines.text, scanned }),
    }
}

/// Stands for a letter that its font does not name.
const UNNAMED: char = '\u{FFFD}';

/// Letters put into lines.
#[derive(Default)]
struct Lines {
    text: String,
    last: Option<Last>,
    /// Images of the page at hand.
    images: usize,
}

/// The letter before.
struct Last {
    /// Where it ends.
    end: Point,
    /// Where the line goes, of length 1.
    direction: Vec2,
    size: f64,
}

/// Width of a letter that does not say its own, as part of the font's size.
const WIDTH: f64 = 0.5;
/// A gap that is a space, as part of the font's size: spaces are a quarter or more, kerning is less than a tenth.
const GAP: f64 = 0.17;
/// A letter that is this far above or below stands on another line, as part of the font's size; less is an index.
const RISE: f64 = 0.6;

impl Lines {
    fn end_line(&mut self) {
        if self.last.take().is_some() {
            self.text.push('\n');
        }
    }

    fn letter(&mut self, letter: &str, width: Option<f32>, place: Affine) {
        let start = place * Point::ZERO;
        let em = place * Point::new(1000.0, 0.0) - start;
        let size = em.hypot();
        if !size.is_finite() || size <= 0.0 {
            return;
        }
        let direction = em / size;
        self.separate(start, direction, size);
        self.text.push_str(letter);
        let width = width.map_or(WIDTH, |width| f64::from(width) / 1000.0);
        self.last = Some(Last { end: start + em * width, direction, size });
    }

    /// Ends the line or the word before a letter at `start`, if that is what its place says.
    fn separate(&mut self, start: Point, direction: Vec2, size: f64) {
        let Some(last) = &self.last else { return };
        let (way, scale) = (start - last.end, last.size.max(size));
        let (along, across) = (way.dot(last.direction), way.cross(last.direction).abs());
        let turned = direction.dot(last.direction) < 0.9;
        if turned || across > RISE * scale || along < -scale {
            self.text.push('\n');
        } else if along > GAP * scale && !self.text.ends_with(char::is_whitespace) {
            self.text.push(' ');
        }
    }
}

impl Device<'_> for Lines {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, '_>, props: DrawProps<'_>, _: &DrawMode) {
        for glyph in run.glyphs() {
            let width = match &**glyph {
                Glyph::Outline(outline) => outline.advance_width(),
                Glyph::Type3(drawn) => drawn.advance_width(),
            };
            let place = props.transform * glyph.transform();
            match glyph.as_unicode() {
                Some(BfString::Char(letter)) => self.letter(letter.encode_utf8(&mut [0; 4]), width, place),
                Some(BfString::String(letters)) => self.letter(&letters, width, place),
                // The font does not say what it is.
                None => self.letter(UNNAMED.encode_utf8(&mut [0; 4]), width, place),
            }
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'_>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'_>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'_, '_>, _: ImageDrawProps<'_>) {
        self.images += 1;
    }
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}
