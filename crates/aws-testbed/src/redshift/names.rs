//! What may be a name.

use super::error::{SqlError, SqlResult};

const LONGEST: usize = 127;

/// Reserved words, which are no names without quotes, and no names of roles at all.
const RESERVED: &str = "aes128 aes256 all allowoverwrite analyse analyze and any array as asc authorization az64 \
    backup between binary blanksasnull both bytedict bzip2 case cast check collate column connect constraint create \
    credentials cross current_date current_time current_timestamp current_user current_user_id default deferrable \
    deflate defrag delta delta32k desc disable distinct do else emptyasnull enable encode encrypt encryption end \
    except explicit false for foreign freeze from full globaldict256 globaldict64k grant group gzip having identity \
    ignore ilike in initially inner intersect interval into is isnull join language leading left like limit localtime \
    localtimestamp lun luns lzo lzop minus mostly16 mostly32 mostly8 natural new not notnull null nulls off offline \
    offset oid old on only open or order outer overlaps parallel partition percent permissions pivot placing primary \
    raw readratio recover references rejectlog resort respect restore right select session_user similar snapshot some \
    start sysdate system table tag tdes text255 text32k then timestamp to top trailing true truncatecolumns union \
    unique unnest unpivot user using verbose wallet when where with without";

/// Whether a word, in lower case, is reserved.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.split_ascii_whitespace().any(|reserved| reserved == word)
}

/// # Errors
/// 42622 for what is longer than a name may be.
pub(crate) fn check_length(name: &str) -> SqlResult<()> {
    if name.len() > LONGEST {
        return Err(SqlError::new("42622", format!("identifier \"{name}\" is longer than {LONGEST} bytes")));
    }
    Ok(())
}

/// # Errors
/// 42602 or 42939 for what cannot be a role's name.
pub(crate) fn check_role(name: &str) -> SqlResult<()> {
    if name.contains([':', '/', '.', '\n']) {
        return Err(SqlError::new("42602", format!("invalid role name \"{name}\"")));
    }
    if is_reserved(name) || name == "public" {
        return Err(SqlError::new("42939", format!("role name \"{name}\" is reserved")));
    }
    Ok(())
}

/// # Errors
/// 42939 for what cannot be a user's name.
pub(crate) fn check_user(name: &str) -> SqlResult<()> {
    if name == "public" {
        return Err(SqlError::new("42939", format!("user name \"{name}\" is reserved")));
    }
    Ok(())
}
