// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// A wallet that is a contract (ERC-1271), for tests: it accepts its owner's signature behind one mark byte,
/// so that its signatures can be told from those of an ordinary wallet.
contract TestWallet {
    address public owner;

    constructor(address owner_) {
        owner = owner_;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (signature.length != 66 || signature[0] != 0x01) return 0xffffffff;
        bytes32 r = bytes32(signature[1:33]);
        bytes32 s = bytes32(signature[33:65]);
        bool valid = ecrecover(digest, uint8(signature[65]), r, s) == owner;
        return valid ? this.isValidSignature.selector : bytes4(0xffffffff);
    }
}

/// Deploys such wallets at addresses that are known before (ERC-6492), for tests.
contract TestWalletFactory {
    /// A wallet that is there already is no error, as with the factories in use.
    function createWallet(address owner, bytes32 salt) external returns (address wallet) {
        wallet = addressOf(owner, salt);
        if (wallet.code.length == 0) new TestWallet{salt: salt}(owner);
    }

    function addressOf(address owner, bytes32 salt) public view returns (address) {
        bytes memory creation = abi.encodePacked(type(TestWallet).creationCode, abi.encode(owner));
        bytes32 hash = keccak256(abi.encodePacked(bytes1(0xff), address(this), salt, keccak256(creation)));
        return address(uint160(uint256(hash)));
    }
}
