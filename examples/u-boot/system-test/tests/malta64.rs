//! The whole system with U-Boot on a big-endian 64-bit MIPS machine; regions are in
//! its main memory, and the instances are little-endian.

mod scenario;

use u_boot_system_test::board::Board;

const BOARD: Board = Board::Malta64;
