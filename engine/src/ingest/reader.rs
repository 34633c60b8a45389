//! The thread that reads a source ahead of the encoding.

use std::ops::ControlFlow;

use crossbeam::channel::Sender;

use crate::source::{CodeBlock, Item, Position, Source};
use crate::{Error, Schema};

/// A block ends when it holds so many bytes of input.
const BYTES_A_BLOCK: usize = 64 << 20;
/// A block also ends when it holds so many items and bytes: pictures are slow to encode, and a
/// smaller block tells of progress sooner.
const SLOW_ITEMS_A_BLOCK: usize = 64;
const SLOW_BYTES_A_BLOCK: usize = 1 << 20;

pub(super) enum Message {
    Block(Vec<Item>),
    /// Whole columns of ready codes.
    Codes(CodeBlock),
    /// The source cannot go on.
    Failed(Error),
    /// The source was read to its end.
    End,
}

/// Reads the source and sends it in blocks, until its end or until nobody listens any more.
pub(super) fn read(
    source: &mut dyn Source,
    schema: &Schema,
    start: Position,
    batch: usize,
    sender: &Sender<Message>,
) {
    let as_columns =
        source.read_codes(schema, start, &mut |block| match sender.send(Message::Codes(block)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        });
    match as_columns {
        Ok(false) => {}
        Ok(true) => return drop(sender.send(Message::End)),
        Err(error) => return drop(sender.send(Message::Failed(error))),
    }
    let mut block = Vec::new();
    let mut bytes = 0_usize;
    let outcome = source.read(schema, start, &mut |item| {
        bytes = bytes.saturating_add(item.bytes());
        block.push(item);
        let slow = block.len() >= SLOW_ITEMS_A_BLOCK && bytes >= SLOW_BYTES_A_BLOCK;
        if block.len() < batch && bytes < BYTES_A_BLOCK && !slow {
            return ControlFlow::Continue(());
        }
        bytes = 0;
        match sender.send(Message::Block(std::mem::take(&mut block))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    let rest = if block.is_empty() { Ok(()) } else { sender.send(Message::Block(block)) };
    let end = match outcome {
        Ok(()) => Message::End,
        Err(error) => Message::Failed(error),
    };
    // Nobody listens when the run has ended already; then there is nothing to say.
    if rest.is_ok() {
        drop(sender.send(end));
    }
}
