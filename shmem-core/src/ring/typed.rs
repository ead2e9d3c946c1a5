//! Records of one plain type.

use core::marker::PhantomData;
use core::mem::size_of;

use bytemuck::{AnyBitPattern, NoUninit};

use super::{Consumer, PopError, Producer, PushError};

/// A [`Producer`] of values of one type. Byte order is the type's own affair:
/// use little-endian fields where the peer may be another machine.
pub struct TypedProducer<'m, T> {
    producer: Producer<'m>,
    values: PhantomData<T>,
}

impl<'m, T: NoUninit> TypedProducer<'m, T> {
    /// The same end, for values of `T`.
    pub fn new(producer: Producer<'m>) -> Self {
        Self {
            producer,
            values: PhantomData,
        }
    }

    /// Copies `value` into the ring and publishes it.
    ///
    /// # Errors
    ///
    /// As [`Producer::push`].
    #[inline(always)]
    pub fn push(&mut self, value: &T) -> Result<(), PushError> {
        self.producer.push(bytemuck::bytes_of(value))
    }

    /// Copies as many of `values` as fit and publishes them together; returns how many.
    ///
    /// # Errors
    ///
    /// As [`Producer::push`], [`PushError::Full`] only if not even one fits.
    pub fn push_slice(&mut self, values: &[T]) -> Result<usize, PushError> {
        let mut batch = self.producer.batch();
        let mut count = 0;
        for value in values {
            match batch.push(bytemuck::bytes_of(value)) {
                Ok(()) => count += 1,
                Err(PushError::Full) if count != 0 => break,
                Err(error) => return Err(error),
            }
        }
        batch.publish()?;
        Ok(count)
    }

    /// The end it was made of.
    pub fn get_mut(&mut self) -> &mut Producer<'m> {
        &mut self.producer
    }
}

/// A [`Consumer`] of values of one type.
pub struct TypedConsumer<'m, T> {
    consumer: Consumer<'m>,
    values: PhantomData<T>,
}

impl<'m, T: AnyBitPattern + NoUninit> TypedConsumer<'m, T> {
    /// The same end, for values of `T`.
    pub fn new(consumer: Consumer<'m>) -> Self {
        Self {
            consumer,
            values: PhantomData,
        }
    }

    /// Copies the next value out of the ring and releases it.
    ///
    /// # Errors
    ///
    /// As [`Consumer::pop`]; [`PopError::WrongSize`] if the next record is not a `T`.
    #[inline(always)]
    pub fn pop(&mut self) -> Result<T, PopError> {
        let record = self.consumer.peek()?;
        let len = record.len();
        if len != size_of::<T>() {
            return Err(PopError::WrongSize { len });
        }
        let mut value = T::zeroed();
        record.read(0, bytemuck::bytes_of_mut(&mut value));
        self.consumer.release()?;
        Ok(value)
    }

    /// Copies as many values into the front of `values` as there are, and
    /// releases them together; returns how many.
    ///
    /// # Errors
    ///
    /// As [`TypedConsumer::pop`], but that an empty ring gives 0, and a record
    /// that is not a `T` is an error only where it is the first.
    pub fn pop_slice(&mut self, values: &mut [T]) -> Result<usize, PopError> {
        let mut wrong = None;
        let mut slots = values.iter_mut();
        let count = self.consumer.drain(slots.len(), |record| {
            if record.len() != size_of::<T>() {
                wrong = Some(record.len());
                return false;
            }
            let slot = slots.next();
            slot.is_some_and(|slot| record.read(0, bytemuck::bytes_of_mut(slot)) == size_of::<T>())
        })?;
        match wrong {
            Some(len) if count == 0 => Err(PopError::WrongSize { len }),
            _ => Ok(count),
        }
    }

    /// The end it was made of.
    pub fn get_mut(&mut self) -> &mut Consumer<'m> {
        &mut self.consumer
    }
}
