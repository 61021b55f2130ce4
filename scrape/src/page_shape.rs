//! What stays the same from one page of a target to the next, in whichever format it has.

use hearth_wire::config::Limits;
use hearth_wire::exposition::{
    Beside, Differences, Entry, Format, Histograms, ProtobufShape, Protocol, Readings, Shape,
};

/// See the module's head. Samples and native histograms are numbered in the order of the page.
pub enum PageShape {
    Lines(Format, Shape),
    Protobuf(ProtobufShape),
}

impl PageShape {
    /// As [`Shape::of`] and [`ProtobufShape::of`].
    pub fn of(
        protocol: Protocol,
        histograms: Histograms,
        body: &[u8],
        each: impl FnMut(&Entry<'_>) -> bool,
    ) -> Option<PageShape> {
        let limits = Limits::default();
        match protocol {
            Protocol::Lines(format) => {
                Shape::of(format, body, &limits, each).map(|shape| PageShape::Lines(format, shape))
            }
            Protocol::Protobuf => ProtobufShape::of(body, histograms, &limits, each).map(PageShape::Protobuf),
        }
    }

    pub fn protocol(&self) -> Protocol {
        match self {
            PageShape::Lines(format, _) => Protocol::Lines(*format),
            PageShape::Protobuf(_) => Protocol::Protobuf,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            PageShape::Lines(_, shape) => shape.len(),
            PageShape::Protobuf(shape) => shape.len(),
        }
    }

    pub fn series_at(&self, number: usize) -> &[u8] {
        match self {
            PageShape::Lines(_, shape) => shape.series_at(number),
            PageShape::Protobuf(shape) => shape.series_at(number),
        }
    }

    pub fn series(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|number| self.series_at(number))
    }

    /// Whether that one has a time of its own.
    pub fn has_time(&self, number: usize) -> bool {
        match self {
            PageShape::Lines(_, shape) => shape.has_time(number),
            PageShape::Protobuf(shape) => shape.has_time(number),
        }
    }

    /// As [`Shape::read_around`]; pages of protobuf are read where they do not differ at all.
    pub fn read(
        &self,
        body: &[u8],
        most: usize,
        find: impl FnMut(&[u8]) -> Option<usize>,
        into: &mut Readings<'_>,
    ) -> Option<(Differences, Beside)> {
        match self {
            PageShape::Lines(format, shape) => {
                let differences = shape.read_around(*format, body, most, find, into)?;
                Some((differences, Beside::default()))
            }
            PageShape::Protobuf(shape) => {
                let beside = shape.read(body, &Limits::default(), into)?;
                Some((Differences::default(), beside))
            }
        }
    }
}
