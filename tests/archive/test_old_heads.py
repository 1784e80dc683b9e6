"""An approver whose remembered head lies in an archive: what cannot be proven is not signed over, and it says why."""

from tests.cli.office import office

from pgnotary.errors import InArchive


async def test_nothing_is_signed_while_the_remembered_head_lies_in_an_archive() -> None:
    async with office() as desk:
        desk.hold()
        assert (await desk.decide("deny")).exit_code == 0
        before = desk.heads.read_bytes()
        desk.desk.taken.clear()
        desk.hold("R-1")
        prove = desk.ledger.prove

        async def archived(older: int, entries: object) -> object:
            if older:
                raise InArchive(f"a head over {older} entries lies in the archive: here are those from #256 on", 256)
            return await prove(older, entries)  # type: ignore[arg-type]

        desk.ledger.prove = archived  # type: ignore[method-assign, assignment]
        done = await desk.decide("deny")
        assert (done.exit_code, desk.desk.taken) == (5, [])
        assert "lies in the archive: here are those from #256 on; `pgnotary verify --archive FOLDER" in done.stderr
        assert desk.heads.read_bytes() == before
        # Once they have compared it, they begin a new memory.
        done = await desk.decide("deny", "--heads", desk.folder / "new-heads")
        assert (done.exit_code, len(desk.desk.taken)) == (0, 1)
