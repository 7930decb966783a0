//! `timestamptz` for [`jiff::Timestamp`]: microseconds since 2000-01-01 on the wire.

use jiff::Timestamp;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// 2000-01-01T00:00:00Z, where Postgres counts from, in microseconds since 1970.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// The earliest instant Postgres knows (4714-11-24 BC), from its epoch. Jiff's calendar starts earlier; a list
/// asked for "from the beginning of time" is no error.
const EARLIEST_US: i64 = -211_813_488_000_000_000;

/// An instant to the microsecond, as a column keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instant(pub Timestamp);

impl Instant {
    /// As it goes over the wire.
    pub fn micros(self) -> i64 {
        self.0.as_microsecond().saturating_sub(POSTGRES_EPOCH_US).max(EARLIEST_US)
    }
}

impl Type<Postgres> for Instant {
    fn type_info() -> PgTypeInfo {
        // `timestamptz`; the numbers of built-in types are the same in every server.
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Instant {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Instant {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(self.micros(), buffer)
    }
}

impl Decode<'_, Postgres> for Instant {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        // Prepared statements answer in binary; nothing here is asked for in another way.
        let micros: i64 = Decode::<Postgres>::decode(value)?;
        let micros = micros.checked_add(POSTGRES_EPOCH_US).ok_or("an instant beyond all calendars")?;
        Ok(Instant(Timestamp::from_microsecond(micros)?))
    }
}
